package connection

// In the password grant the client is the organization's and one for both users, so it
// is a part of the settings.

// changeClient applies the part of a write that is about the organization's client. The
// secret belongs to its id: a new id needs its secret in the same write. The errors are
// *InputError.
func (s *Settings) changeClient(c Change) (err error) {
	if id, ok := c[ClientID].(string); ok {
		if id, err = NormalizedID(ClientID, id); err != nil {
			return err
		}
		if id != s.ClientID {
			s.ClientID, s.ClientSecret = id, Secret{}
		}
	}
	if secret, ok := c[ClientSecret].(Secret); ok {
		if s.ClientSecret, err = NormalizedSecret(ClientSecret, secret); err != nil {
			return err
		}
	}
	switch {
	case s.ClientID == "":
		return Invalid(ClientID, "is missing")
	case s.ClientSecret.IsEmpty():
		return Invalid(ClientSecret, "is missing")
	}
	return nil
}

// checkPairFields refuses fields of a pair that the connection has no use for: users and
// their passwords outside of the password grant, and a second client in it.
func (c Change) checkPairFields(s Settings) error {
	for _, f := range fields {
		if f.value != nil || c.isEmpty(f.Field) {
			continue
		}
		if grantType := s.WithDefaults().GrantType; f.GrantType != "" && f.GrantType != grantType {
			return Invalid(f.Field, "is for grant_type %q; this connection's is %q", f.GrantType, grantType)
		}
		if s.PairFields().Users() && (f.Field == PairedClientID || f.Field == PairedClientSecret) {
			return Invalid(f.Field, "has no use for grant_type %q: both users have the same client. The second user is paired_username", GrantPassword)
		}
	}
	return nil
}

// isEmpty reports whether a field of the pair is not given, or is given as an empty
// text.
func (c Change) isEmpty(field Field) bool {
	switch v := c[field].(type) {
	case string:
		return trimText(v) == ""
	case Secret:
		return v.IsEmpty()
	}
	return true
}

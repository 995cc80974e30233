package connection

import "fmt"

// ReplacedClients returns a warning for each client of the connection before that is no
// longer there because another id was written in its place. It is mostly nil.
func (c *Connection) ReplacedClients(before *Connection) []string {
	if before == nil {
		return nil
	}
	var warnings []string
	for slot, was := range before.Pair.Clients {
		now := c.Pair.Clients[slot]
		if was.ID == "" || now.ID == "" || c.Pair.has(was.ID) {
			continue
		}
		fields := c.PairFields()
		warnings = append(warnings, fmt.Sprintf("%s was %q and is now %q: the %s of %s %q is no longer stored",
			fields.ID(Slot(slot)), was.ID, now.ID, fields.SecretNoun(), fields.Noun(), was.ID))
	}
	return warnings
}

// has reports whether a client with this id is one of the pair.
func (p Pair) has(id string) bool {
	return p.Clients[First].ID == id || p.Clients[Paired].ID == id
}

package gbgsim

import (
	"cmp"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// Errors of the methods for users, wrapped with the user's name.
var (
	ErrUnknownUser = errors.New("no such user")
	ErrUserExists  = errors.New("username is taken")
)

// User is an API user of the Account management portal. It gets tokens with its
// password and any client of the organization (grant_type=password).
type User struct {
	Username string `json:"username"`

	// Password is set only when it has just been set.
	Password string `json:"password,omitempty"`

	// Temporary is true until the first password has been changed. No token is issued
	// until then.
	Temporary bool `json:"temporary"`
}

type userList struct {
	Users []User `json:"users"`
}

// CreateUser adds a user and returns it with its temporary password, which is refused
// until [Simulator.SetPassword] changes it. It returns [ErrUserExists] if the name is
// taken, and an error if it is empty or invalid as a client id.
func (s *Simulator) CreateUser(username string) (User, error) { return s.gbg.createUser(username) }

// SetPassword changes the password of a user and returns the new one, which is random
// if password is empty. The old one is invalid immediately; tokens already issued stay
// valid. It fails only with [ErrUnknownUser].
func (s *Simulator) SetPassword(username, password string) (string, error) {
	return s.gbg.setPassword(username, password)
}

// Users returns all users without their passwords, sorted by name.
func (s *Simulator) Users() []User { return s.gbg.listUsers() }

// DeleteUser removes a user. Tokens already issued stay valid. It fails only with
// [ErrUnknownUser].
func (s *Simulator) DeleteUser(username string) error { return s.gbg.deleteUser(username) }

func (a *authServer) createUser(username string) (User, error) {
	if username == "" {
		return User{}, errors.New("username is missing")
	}
	if err := checkClientID(username); err != nil {
		return User{}, err
	}

	a.mu.Lock()
	defer a.mu.Unlock()

	if _, taken := a.users[username]; taken {
		return User{}, fmt.Errorf("%w: %q", ErrUserExists, username)
	}
	user := User{Username: username, Password: newSecret(), Temporary: true}
	a.users[username] = user

	return user, nil
}

func (a *authServer) setPassword(username, password string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()

	if _, ok := a.users[username]; !ok {
		return "", fmt.Errorf("%w: %q", ErrUnknownUser, username)
	}
	password = cmp.Or(password, newSecret())
	a.users[username] = User{Username: username, Password: password}

	return password, nil
}

func (a *authServer) listUsers() []User {
	a.mu.Lock()
	defer a.mu.Unlock()

	users := make([]User, 0, len(a.users))
	for _, name := range slices.Sorted(maps.Keys(a.users)) {
		user := a.users[name]
		user.Password = ""
		users = append(users, user)
	}

	return users
}

func (a *authServer) deleteUser(username string) error {
	a.mu.Lock()
	defer a.mu.Unlock()

	if _, ok := a.users[username]; !ok {
		return fmt.Errorf("%w: %q", ErrUnknownUser, username)
	}
	delete(a.users, username)

	return nil
}

// grantPassword issues a token to a user (RFC 6749, section 4.3). It checks the client
// first. The descriptions are Keycloak's.
func (a *authServer) grantPassword(request tokenRequest, scopes ...string) (tokenResponse, *oauthError) {
	if refused := request.requireParameters("username", "password"); refused != nil {
		return tokenResponse{}, refused
	}

	a.mu.Lock()
	defer a.mu.Unlock()

	client, refused := a.authenticateLocked(request)
	if refused != nil {
		return tokenResponse{}, refused
	}
	user, ok := a.users[request.form.Get("username")]
	if !ok || subtle.ConstantTimeCompare([]byte(user.Password), []byte(request.form.Get("password"))) == 0 {
		return tokenResponse{}, invalidGrant("Invalid user credentials")
	}
	if user.Temporary {
		return tokenResponse{}, invalidGrant("Account is not fully set up")
	}
	if refused := request.checkScope(scopes); refused != nil {
		return tokenResponse{}, refused
	}

	return a.issueLocked(token{subject: user.Username, client: client}), nil
}

// routeUsers adds the part of the portal that is about users.
func (s *Simulator) routeUsers(mux *http.ServeMux) {
	mux.Handle("GET /portal/users", portalHandler(func(*http.Request) (int, any, error) {
		return http.StatusOK, userList{Users: s.Users()}, nil
	}))
	mux.Handle("POST /portal/users", portalHandler(func(r *http.Request) (int, any, error) {
		var request struct {
			Username string `json:"username"`
		}
		if err := readJSON(r, &request); err != nil {
			return 0, nil, err
		}
		user, err := s.CreateUser(request.Username)

		return http.StatusCreated, user, err
	}))
	mux.Handle("PUT /portal/users/{name}/password", portalHandler(func(r *http.Request) (int, any, error) {
		var request struct {
			Password string `json:"password"`
		}
		if err := readJSON(r, &request); err != nil {
			return 0, nil, err
		}
		name := r.PathValue("name")
		password, err := s.SetPassword(name, request.Password)

		return http.StatusOK, User{Username: name, Password: password}, err
	}))
	mux.Handle("DELETE /portal/users/{name}", portalHandler(func(r *http.Request) (int, any, error) {
		return http.StatusNoContent, nil, s.DeleteUser(r.PathValue("name"))
	}))
}

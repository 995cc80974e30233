package plugintest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

// testCA is a certificate that nobody's server has.
var testCA = func() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "Test CA, not real"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Unix(1<<32, 0),
		IsCA:         true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return pemOf("CERTIFICATE", der)
}()

func pemOf(kind string, der []byte) string {
	block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	return string(block[:len(block)-1])
}

func TestConfigRefusesBadInput(t *testing.T) {
	const (
		notHTTPS   = "token_url must begin with https://"
		refreshBad = "refresh_before must be between 1s and 24h0m0s"
		timeoutBad = "request_timeout must be between 1s and 1m0s"
		scopeBad   = "scope has a character that is not valid in a scope"
	)
	cases := []struct {
		name   string
		change fields // of a write that would be fine
		want   string
	}{
		{"no client_id", fields{"client_id": nil}, "client_id is missing"},
		{"no client_secret", fields{"client_secret": nil}, "client_secret is missing"},
		{"no paired_client_id", fields{"paired_client_id": nil}, "paired_client_id is missing: a secret was given for it"},
		{"no paired_client_secret", fields{"paired_client_secret": nil}, "paired_client_secret is missing"},
		{"empty client_id", fields{"client_id": ""}, "client_id is empty: give a value or leave the field out"},
		{"client_id of space", fields{"client_id": " \n"}, "client_id is empty: give a value or leave the field out"},
		{"empty client_secret", fields{"client_secret": ""}, "client_secret is empty: give a value or leave the field out"},
		{"client_secret of space", fields{"client_secret": "\n"}, "client_secret is empty: give a value or leave the field out"},
		{"empty paired_client_id", fields{"paired_client_id": ""}, "paired_client_id is missing: a secret was given for it"},
		{"empty paired_client_secret", fields{"paired_client_secret": ""}, "paired_client_secret is empty: give a value or leave the field out"},
		{"equal ids", fields{"paired_client_id": clientA}, "paired_client_id is the same as client_id; a pair is two different clients"},
		{"equal but for space", fields{"paired_client_id": clientA + "\n"}, "paired_client_id is the same as client_id; a pair is two different clients"},

		{"grant_type", fields{"grant_type": "implicit"}, `grant_type must be "client_credentials" (GBG GO), "password" (GBG GO with API users) or "id_auth" (GBG Identity Solution)`},

		{"http", fields{"token_url": "http://gbg.example/token"}, notHTTPS + " (http:// is for a loopback address only)"},
		{"http to what looks like loopback", fields{"token_url": "http://127.0.0.1.gbg.example/"}, notHTTPS + " (http:// is for a loopback address only)"},
		{"http to any address", fields{"token_url": "http://0.0.0.0/"}, notHTTPS + " (http:// is for a loopback address only)"},
		{"http to a private address", fields{"token_url": "http://10.0.0.1/"}, notHTTPS + " (http:// is for a loopback address only)"},
		{"another scheme", fields{"token_url": "ftp://gbg.example/"}, notHTTPS},
		{"no scheme", fields{"token_url": "gbg.example/token"}, notHTTPS},
		{"no host", fields{"token_url": "https:///token"}, "token_url has no host"},
		{"only a port", fields{"token_url": "https://:443/token"}, "token_url has no host"},
		{"a user", fields{"token_url": "https://user@gbg.example/"}, "token_url must not hold a user name or password"},
		{"a password", fields{"token_url": "https://user:" + wrongSecret + "@gbg.example/"}, "token_url must not hold a user name or password"},
		{"a fragment", fields{"token_url": "https://gbg.example/#part"}, "token_url must not have a fragment (#...)"},
		{"an empty fragment", fields{"token_url": "https://gbg.example/#"}, "token_url must not have a fragment (#...)"},
		{"no URL", fields{"token_url": "https://gbg.example:port/"}, "token_url is not a URL"},
		{"port zero", fields{"token_url": "https://gbg.example:0/"}, "token_url has a port that is not between 1 and 65535"},
		{"a port that no machine has", fields{"token_url": "https://gbg.example:65536/"}, "token_url has a port that is not between 1 and 65535"},
		{"a control character in the URL", fields{"token_url": "https://gbg.example/\x00"}, "token_url has control characters"},
		{"a newline in the URL", fields{"token_url": "https://gbg.example/\ntoken"}, "token_url has control characters"},
		{"a long URL", fields{"token_url": "https://gbg.example/" + long(2<<10)}, "token_url is longer than 2048 bytes"},

		{"a quote in the scope", fields{"scope": `gbg"token`}, scopeBad},
		{"a backslash in the scope", fields{"scope": `gbg\token`}, scopeBad},
		{"a control character in the scope", fields{"scope": "gbg\x7ftoken"}, scopeBad},
		{"a letter beyond ASCII in the scope", fields{"scope": "gbg.töken"}, scopeBad},
		{"a long scope", fields{"scope": long(4<<10 + 1)}, "scope is longer than 4096 bytes"},

		{"a control character in client_id", fields{"client_id": "a\x07a"}, "client_id has control characters"},
		{"a newline in client_id", fields{"client_id": "a\na"}, "client_id has control characters"},
		{"a control character in paired_client_id", fields{"paired_client_id": "b\x1bb"}, "paired_client_id has control characters"},
		{"a control character in client_secret", fields{"client_secret": wrongSecret + "\x00x"}, "client_secret has control characters"},
		{"two lines in paired_client_secret", fields{"paired_client_secret": wrongSecret + "\n" + wrongSecret}, "paired_client_secret has control characters"},
		{"client_id that is no text", fields{"client_id": "a\xff"}, "client_id is not UTF-8 text"},
		{"client_secret that is no text", fields{"client_secret": wrongSecret + "\xff"}, "client_secret is not UTF-8 text"},
		{"a long client_id", fields{"client_id": long(513)}, "client_id is longer than 512 bytes"},
		{"a long paired_client_id", fields{"paired_client_id": long(513)}, "paired_client_id is longer than 512 bytes"},
		{"a long client_secret", fields{"client_secret": wrongSecret + long(8<<10)}, "client_secret is longer than 8192 bytes"},
		{"a long paired_client_secret", fields{"paired_client_secret": wrongSecret + long(8<<10)}, "paired_client_secret is longer than 8192 bytes"},

		{"refresh_before zero", fields{"refresh_before": 0}, refreshBad},
		{"refresh_before below a second", fields{"refresh_before": "500ms"}, refreshBad},
		{"refresh_before too long", fields{"refresh_before": 24*3600 + 1}, refreshBad},
		{"request_timeout zero", fields{"request_timeout": "0s"}, timeoutBad},
		{"request_timeout too long", fields{"request_timeout": 61}, timeoutBad},
		{"max_secret_age too long", fields{"max_secret_age": 10*365*24*3600 + 1}, "max_secret_age must be between 0 (off) and 87600h0m0s"},

		{"no PEM", fields{"ca_pem": "not a certificate"}, "ca_pem holds no PEM certificate"},
		{"a private key", fields{"ca_pem": testCA + "\n" + pemOf("PRIVATE KEY", []byte(wrongSecret))}, `ca_pem holds a PEM block "PRIVATE KEY"; only CERTIFICATE is allowed`},
		{"a broken certificate", fields{"ca_pem": pemOf("CERTIFICATE", []byte("no"))}, "ca_pem certificate 1 cannot be read: x509: malformed certificate"},
		{"a long ca_pem", fields{"ca_pem": long(256<<10 + 1)}, "ca_pem is longer than 262144 bytes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				pair := w.pair()
				assert.Equal(t, c.want, w.refused(w.try(logical.UpdateOperation, "config", given(with(pair, c.change)))))
				assert.Empty(t, w.storage.content(t), "a write that fails stores nothing")
				assert.Zero(t, w.asked(), "GBG was asked")
				assert.Equal(t, answer{}, w.try(logical.ReadOperation, "config", nil))
			})
		})
	}
}

// given leaves out the fields that are nil.
func given(data fields) fields {
	for name, value := range data {
		if value == nil {
			delete(data, name)
		}
	}
	return data
}

// The same refusals leave a connection that exists as it was.
func TestConfigRefusedInputChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		before, asked := w.storage.content(t), w.asked()
		for _, c := range []struct {
			change fields
			want   string
		}{
			{fields{"client_id": ""}, "client_id is empty: give a value or leave the field out"},
			{fields{"client_id": "client-c"}, "client_secret is missing"},
			{fields{"client_secret": " "}, "client_secret is empty: give a value or leave the field out"},
			{fields{"paired_client_id": "client-c"}, "paired_client_secret is missing"},
			{fields{"paired_client_secret": ""}, "paired_client_secret is empty: give a value or leave the field out"},
			{fields{"client_id": clientB}, "paired_client_id is the same as client_id; a pair is two different clients"},
			{fields{"paired_client_id": clientA}, "paired_client_id is the same as client_id; a pair is two different clients"},
			{fields{"paired_client_id": "", "paired_client_secret": wrongSecret}, "paired_client_secret has no client: paired_client_id is empty"},
			{fields{"refresh_before": 60, "scope": `"`}, "scope has a character that is not valid in a scope"},
		} {
			assert.Equal(t, c.want, w.refused(w.try(logical.UpdateOperation, "config", c.change)))
		}
		assert.Equal(t, before, w.storage.content(t))
		assert.Equal(t, asked, w.asked())
	})
}

// The framework refuses a value of the wrong type.
func TestConfigRefusesValuesOfAnotherType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		for field, value := range (fields{"refresh_before": "-5s", "request_timeout": "soon", "verify_connection": "perhaps", "failover": "perhaps", "max_secret_age": -1}) {
			assert.Contains(t, w.refused(w.try(logical.UpdateOperation, "config", with(fields{"client_id": clientA}, fields{field: value}))), field)
		}
		assert.Empty(t, w.storage.content(t))
	})
}

// The framework's own error for a value of the wrong type would quote the value.
func TestConfigDoesNotQuoteASecretOfAnotherType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		pair := w.pair()
		for range 2 { // without a connection, and with one
			content := w.storage.content(t)
			for _, secret := range []any{fields{"value": wrongSecret}, []any{wrongSecret, "x"}, []string{wrongSecret}, 1, true} {
				assert.Equal(t, "client_secret must be a string",
					w.refused(w.try(logical.UpdateOperation, "config", with(pair, fields{"client_secret": secret}))))
				assert.Equal(t, "paired_client_secret must be a string",
					w.refused(w.try(logical.UpdateOperation, "config", with(pair, fields{"paired_client_secret": secret}))))
				assert.Equal(t, "client_secret must be a string",
					w.refused(w.try(logical.UpdateOperation, "rotate", fields{"client_secret": secret})))
			}
			assert.Equal(t, content, w.storage.content(t))
			w.write("config", pair)
		}
	})
}

func TestConfigTakesLoopbackAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		client := fields{"client_id": clientA, "client_secret": wrongSecret, "verify_connection": false}
		for _, url := range []string{
			"http://127.0.0.1/", "http://127.9.9.9:8090/token", "http://[::1]:8090/", "http://localhost/", "http://LOCALHOST:1/",
			"https://gbg.example/", "HTTPS://gbg.example:8443/as/token.oauth2?tenant=a",
		} {
			w.write("config", with(client, fields{"token_url": url}))
			assert.Equal(t, url, w.read("config")["token_url"])
		}
	})
}

func TestConfigTakesTheLargestValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", fields{
			"client_id":         long(512),
			"client_secret":     long(8 << 10),
			"scope":             long(4 << 10),
			"refresh_before":    "24h",
			"request_timeout":   "1m",
			"max_secret_age":    "87600h",
			"verify_connection": false,
		})
		assert.Equal(t, long(512), w.read("config")["client_id"])
	})
}

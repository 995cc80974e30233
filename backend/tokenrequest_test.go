package backend

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Two ways to write one address are one host, whose requests are counted together.
func TestHostOf(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://api.auth.gbgplc.com/as/token.oauth2":     "api.auth.gbgplc.com:443",
		"https://API.auth.gbgplc.com:443/as/token.oauth2": "api.auth.gbgplc.com:443",
		"https://api.auth.gbgplc.com:8443/other?a=b":      "api.auth.gbgplc.com:8443",
		"http://localhost/token":                          "localhost:80",
		"http://[::1]/token":                              "[::1]:80",
		"http://[::1]:8080/token":                         "[::1]:8080",
	} {
		assert.Equal(t, want, hostOf(address), address)
	}
}

package gbgauth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// proxy selects the proxy for a URL.
type proxy struct {
	// forURL returns the URL of the proxy, and nil if there is none.
	forURL func(*url.URL) (*url.URL, error)
}

// proxyFromEnvironment returns the proxy of the environment variables HTTPS_PROXY,
// HTTP_PROXY and NO_PROXY, or their lower-case forms. If the value of one is not a
// usable URL, forURL returns an error for each URL that it applies to; httpproxy alone
// would use no proxy.
func proxyFromEnvironment() proxy {
	config := httpproxy.FromEnvironment()
	invalid := map[string]string{} // URL scheme -> name of the variable
	for _, setting := range []struct {
		scheme, name string
		value        *string
	}{{"https", "HTTPS_PROXY", &config.HTTPSProxy}, {"http", "HTTP_PROXY", &config.HTTPProxy}} {
		if *setting.value != "" && !isProxyURL(*setting.value) {
			if os.Getenv(setting.name) == "" {
				setting.name = strings.ToLower(setting.name)
			}
			invalid[setting.scheme] = setting.name
			*setting.value = "http://proxy.invalid" // so that NO_PROXY still applies
		}
	}
	forURL := config.ProxyFunc()
	return proxy{forURL: func(u *url.URL) (*url.URL, error) {
		proxyURL, err := forURL(u)
		if name := invalid[u.Scheme]; err == nil && proxyURL != nil && name != "" {
			return nil, proxyError(fmt.Sprintf("the proxy setting %s in the environment of the Vault process is not a usable URL", name))
		}
		return proxyURL, err
	}}
}

// isProxyURL reports whether the value of a proxy variable is usable. The prefix
// "http://" is optional.
func isProxyURL(setting string) bool {
	if !strings.Contains(setting, "://") {
		setting = "http://" + setting
	}
	u, err := url.Parse(setting)
	return err == nil && u.Hostname() != "" && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)
}

// proxyError is a failure of a proxy, or an unusable proxy variable.
type proxyError string

func (e proxyError) Error() string { return string(e) }

// checkConnectResponse returns a proxyError if a proxy refuses a CONNECT request. It is
// an http.Transport's OnProxyConnectResponse.
func checkConnectResponse(_ context.Context, proxyURL *url.URL, req *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return proxyError(fmt.Sprintf("the proxy %s refused to connect to %s: HTTP %d %s",
		proxyURL.Host, req.Host, resp.StatusCode, http.StatusText(resp.StatusCode)))
}

// host returns the host and port of the proxy for a URL, and "" if there is none.
func (p proxy) host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	proxyURL, err := p.forURL(u)
	if err != nil || proxyURL == nil {
		return ""
	}
	return proxyURL.Host
}

// failure returns a description of err if the proxy for a URL caused it, and "" if not.
func (p proxy) failure(address string, err error) string {
	var proxyErr proxyError
	if errors.As(err, &proxyErr) {
		return proxyErr.Error()
	}
	var opErr *net.OpError
	if errors.As(err, &opErr) && (opErr.Op == "proxyconnect" || strings.HasPrefix(opErr.Op, "socks ")) {
		return fmt.Sprintf("cannot connect to the proxy %s: %s", p.host(address), opErr.Err)
	}
	return ""
}

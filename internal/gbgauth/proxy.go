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

// proxy is the environment's choice of a proxy for each URL.
type proxy struct {
	forURL func(*url.URL) (*url.URL, error)
}

// proxyFromEnvironment reads HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or their forms in
// small letters. A setting that cannot be read is an error for every URL that it is
// for; httpproxy alone would then go without a proxy.
func proxyFromEnvironment() proxy {
	config := httpproxy.FromEnvironment()
	invalid := map[string]string{} // by URL scheme
	for _, setting := range []struct {
		scheme, name string
		value        *string
	}{{"https", "HTTPS_PROXY", &config.HTTPSProxy}, {"http", "HTTP_PROXY", &config.HTTPProxy}} {
		if *setting.value != "" && !isProxyURL(*setting.value) {
			if os.Getenv(setting.name) == "" {
				setting.name = strings.ToLower(setting.name)
			}
			invalid[setting.scheme] = setting.name
			*setting.value = "http://proxy.invalid" // so that NO_PROXY still has a say
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

// isProxyURL reports whether a proxy setting can be used. As everywhere, http:// may
// be left out.
func isProxyURL(setting string) bool {
	if !strings.Contains(setting, "://") {
		setting = "http://" + setting
	}
	u, err := url.Parse(setting)
	return err == nil && u.Hostname() != "" && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)
}

// proxyError is a failure of a proxy, or of its setting.
type proxyError string

func (e proxyError) Error() string { return string(e) }

// checkConnectResponse turns a proxy's refusal to connect to a host into an error of its
// own. It is an http.Transport's OnProxyConnectResponse.
func checkConnectResponse(_ context.Context, proxyURL *url.URL, req *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return proxyError(fmt.Sprintf("the proxy %s refused to connect to %s: HTTP %d %s",
		proxyURL.Host, req.Host, resp.StatusCode, http.StatusText(resp.StatusCode)))
}

// host returns the host of the proxy for a URL; "" if there is none.
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

// failure returns what the proxy for a URL did wrong, if err is due to it; "" if not.
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

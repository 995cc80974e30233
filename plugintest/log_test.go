package plugintest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// lines are those that an operator sees who runs at a level: what f logs at that
// level or above.
func (w *world) lines(f func(), levels ...string) (lines []string) {
	before := len(w.heard.log.String())
	f()
	for line := range strings.Lines(w.heard.log.String()[before:]) {
		for _, level := range levels {
			if strings.Contains(line, "["+level+"]") {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// An outage of hours is a handful of lines, however many read meanwhile, and its
// end is one.
func TestLogOfALongOutage(t *testing.T) {
	for name, config := range map[string]func(*world) fields{"shared": (*world).pair, "leased": (*world).leasing} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldOptions{})
				w.write("config", with(config(w), fields{"verify_connection": false}))
				w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusBadRequest, Error: "invalid_scope"})
				outage := w.lines(func() {
					for range 200 { // more than three hours
						for range 5 {
							w.coded(http.StatusBadGateway, w.try(logical.ReadOperation, "creds", nil))
						}
						w.pass(time.Minute)
					}
				}, "INFO", "WARN", "ERROR")
				require.Len(t, outage, 8, "1, 2, 4, ... 128 failures")
				assert.Contains(t, outage[7], "token requests fail: connection=default failed=128 failing_since=")
				assert.Contains(t, outage[7], "invalid_scope")
				w.sim.ClearFaults()
				over := w.lines(func() { w.read("creds") }, "INFO", "WARN", "ERROR")
				require.Len(t, over, 1)
				assert.Contains(t, over[0], "[INFO]  token requests succeed again: connection=default failed=200 failing_since=")
			})
		})
	}
}

// What is odd about every token is said once, and again if it had been mended.
func TestLogOfOddTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", with(w.leasing(), fields{"scope": "gbg.token gbg.more", "verify_connection": false}))
		read := func() {
			for range 5 {
				w.lease("creds")
			}
		}
		odd := gbgsim.Fault{Kind: gbgsim.FaultBody, Status: http.StatusOK, Body: `{"access_token":"` + gbgsim.TokenPrefix + `ODD","token_type":"Bearer","scope":"gbg.token"}`}
		for range 2 {
			w.fault(odd)
			said := w.lines(read, "INFO", "WARN", "ERROR")
			require.Len(t, said, 2, said)
			assert.Contains(t, said[0], "token lacks scopes that were asked for: client_id=client-a connection=default missing=gbg.more")
			assert.Contains(t, said[1], "token came without expires_in: client_id=client-a connection=default assumed=5m")
			w.sim.ClearFaults()
			w.fault(gbgsim.Fault{Kind: gbgsim.FaultBody, Status: http.StatusOK, Body: `{"access_token":"` + gbgsim.TokenPrefix + `EVEN","token_type":"Bearer","expires_in":3600}`})
			assert.Empty(t, w.lines(read, "INFO", "WARN", "ERROR"))
			w.sim.ClearFaults()
		}
	})
}

// A revocation that fails is told of when it fails, and if it never succeeds; not
// each minute.
func TestLogOfRevocationsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.leasing())
		w.fault(gbgsim.Fault{Kind: gbgsim.FaultStatus, Endpoint: gbgsim.EndpointRevoke, Status: http.StatusServiceUnavailable})
		lease := w.lease("creds")
		assert.Len(t, w.lines(func() { require.Error(t, w.revoke(lease)) }, "INFO", "WARN"), 1)
		assert.Empty(t, w.lines(func() {
			for range 59 {
				w.minute()
			}
		}, "INFO", "WARN"))
		assert.Len(t, w.lines(w.minute, "INFO", "WARN"), 1)
	})
}

// Reading a token is silent, whoever reads.
func TestLogOfReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		w.write("config", w.pair())
		assert.Empty(t, w.lines(func() {
			for range 100 {
				w.read("creds")
				w.read("status")
			}
		}, "TRACE", "DEBUG", "INFO", "WARN", "ERROR"))
	})
}

// docs/operations.md has a row for every line that the plugin can log, with its
// level, and no other.
func TestLogTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page, err := os.ReadFile("../docs/operations.md")
		require.NoError(t, err)
		documented := map[string]string{}
		for _, row := range regexp.MustCompile("(?m)^\\| (debug|info|warn|error) \\| `([^`]+)` \\| \\S").FindAllStringSubmatch(string(page), -1) {
			documented[row[2]] = row[1]
		}
		assert.Equal(t, logCalls(t, "../*.go", "../backend/*.go", "../backend/*/*.go"), documented)
	})
}

// logCalls are the messages that source files give to a logger, by level.
func logCalls(t *testing.T, patterns ...string) map[string]string {
	t.Helper()
	calls := map[string]string{"token requests fail": "warn"} // through Log, with a level that varies
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			require.NoError(t, err)
			ast.Inspect(parsed, func(n ast.Node) bool {
				if level, message := logCall(n); message != "" {
					calls[message] = level
				}
				return true
			})
		}
	}
	return calls
}

// logCall gives level and message of a call to a logger.
func logCall(n ast.Node) (level, message string) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return "", ""
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Trace", "Debug", "Info", "Warn", "Error"}, method.Sel.Name) {
		return "", ""
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", ""
	}
	message, _ = strconv.Unquote(literal.Value)
	return strings.ToLower(method.Sel.Name), message
}

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// callPause is the pause between two calls of an application stand-in.
const callPause = 200 * time.Millisecond

// envToken is the token in a file that gbg.env.ctmpl made.
func envToken(content string) string {
	line, _, _ := strings.Cut(content, "\n")
	return strings.TrimPrefix(line, "GBG_TOKEN=")
}

// application stands in for one that takes its token from a file for every call
// of GBG's API.
type application struct {
	stop func()

	mu       sync.Mutex
	accepted int
	refused  int
	failures []string // to read the file or to call
}

// startApplication starts one; stop, or the test's end, ends it.
func startApplication(t *testing.T, g *gbg, file string) *application {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	app := &application{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for pause := time.NewTicker(callPause); ctx.Err() == nil; {
			app.callOnce(ctx, g, file)
			select {
			case <-ctx.Done():
			case <-pause.C:
			}
		}
	}()
	app.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(app.stop)
	return app
}

func (a *application) callOnce(ctx context.Context, g *gbg, file string) {
	content, err := os.ReadFile(file)
	ok := false
	if err == nil {
		ok, err = g.call(ctx, envToken(string(content)))
	}
	if ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err != nil:
		a.failures = append(a.failures, err.Error())
	case ok:
		a.accepted++
	default:
		a.refused++
	}
}

// counts gives the calls so far.
func (a *application) counts() (accepted, refused int, failures []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.accepted, a.refused, slices.Clone(a.failures)
}

// programEnv makes this test's executable a program that Agent starts: the
// address that it calls.
const programEnv = "GBG_E2E_PROGRAM"

// runProgram calls an address with the token in its environment until it is told
// to stop. It takes no notice of the answers: who is called counts them.
func runProgram(address string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for pause := time.NewTicker(callPause); ctx.Err() == nil; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			panic(err)
		}
		req.Header.Set("Authorization", "Bearer "+os.Getenv("GBG_TOKEN"))
		req.Header.Set("X-Program", strconv.Itoa(os.Getpid()))
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}
}

// programs are the runs of runProgram, as seen by whom they call.
type programs struct {
	address string

	mu   sync.Mutex
	runs []*programRun
}

// programRun is one process.
type programRun struct {
	process           int
	tokens            []string // different ones
	accepted, refused int
	refusedAtStart    bool
}

// newPrograms listens for programs and passes their calls on to GBG's API.
func newPrograms(t *testing.T, g *gbg) *programs {
	t.Helper()
	p := &programs{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		ok, err := g.call(t.Context(), token)
		if err != nil {
			http.Error(w, "no answer", http.StatusBadGateway)
			if t.Context().Err() == nil {
				assert.NoError(t, err)
			}
			return
		}
		process, err := strconv.Atoi(r.Header.Get("X-Program"))
		assert.NoError(t, err)
		p.note(process, token, ok)
	}))
	t.Cleanup(server.Close)
	p.address = server.URL
	return p
}

func (p *programs) note(process int, token string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.runs, func(run *programRun) bool { return run.process == process })
	if i < 0 {
		i = len(p.runs)
		p.runs = append(p.runs, &programRun{process: process, refusedAtStart: !ok})
	}
	run := p.runs[i]
	if !slices.Contains(run.tokens, token) {
		run.tokens = append(run.tokens, token)
	}
	if ok {
		run.accepted++
	} else {
		run.refused++
	}
}

// all gives the runs so far, in the order of their starts.
func (p *programs) all() []programRun {
	p.mu.Lock()
	defer p.mu.Unlock()
	var runs []programRun
	for _, run := range p.runs {
		runs = append(runs, *run)
	}
	return runs
}

func (r programRun) String() string {
	return fmt.Sprintf("%d calls accepted, %d refused", r.accepted, r.refused)
}

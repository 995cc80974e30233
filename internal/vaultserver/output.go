package vaultserver

import "sync"

// Output keeps what a process writes. It can be read while the process runs. Its zero
// value is empty.
type Output struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer. It never fails.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	return len(p), nil
}

// String returns everything that was written.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

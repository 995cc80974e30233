package plugintest

import "sync"

// storageFault is a way in which storage goes wrong at the nth of its calls.
type storageFault struct {
	name string
	// writes is set if only writes (Put, Delete) are counted.
	writes bool
	// holds is set if the nth call does its work, and reports failure all the same.
	holds bool
	// lasts is set if every call after the nth fails as well.
	lasts bool
	// crash is set if the mount ends there: a new one finds what is stored.
	crash bool
}

var storageFaults = []storageFault{
	{name: "fails once"},
	{name: "fails from then on", lasts: true},
	{name: "writes and reports failure", writes: true, holds: true},
	{name: "writes and fails from then on", writes: true, holds: true, lasts: true},
	{name: "crash", lasts: true, crash: true},
}

// trap is a storageFault that lies in wait. Nil is none.
type trap struct {
	storageFault
	nth int

	mu    sync.Mutex
	calls int
}

// call makes one call to storage.
func (t *trap) call(write bool, do func() error) error {
	if t == nil {
		return do()
	}
	now, past := t.count(write)
	if now && t.holds {
		if err := do(); err != nil {
			return err
		}
	}
	if now || past && t.lasts {
		return errDisk
	}
	return do()
}

// count says whether this call is the nth, or one after it.
func (t *trap) count(write bool) (now, past bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	past = t.calls >= t.nth
	if write || !t.writes {
		t.calls++
	}
	return !past && t.calls == t.nth, past
}

// sprung says whether there were as many calls.
func (t *trap) sprung() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.calls >= t.nth
}

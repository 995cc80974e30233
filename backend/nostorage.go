package backend

import (
	"context"
	"errors"
	"time"
)

// errNoStorage is the outcome of a request in the background that was not sent because
// the mount's storage cannot be read.
var errNoStorage = errors.New("the storage cannot be read")

// noStoragePause is the pause before such a request is made again.
const noStoragePause = 5 * time.Second

// checkStorage returns errNoStorage if a request that nobody waits for would be made
// while the mount's storage cannot be read. A plugin process outlives its server if that
// is killed: another node is active then, and a token fetched here would be nobody's.
func (e *Engine) checkStorage(ctx context.Context, r tokenRequest) error {
	if r.awaited == nil || r.awaited() {
		return nil
	}
	ctx, end := context.WithTimeout(ctx, storageTimeout)
	defer end()
	if _, err := e.storage.Get(ctx, TokenPrefix+r.connection); err != nil {
		e.logger.Debug("token not refreshed: storage cannot be read", "connection", r.connection, "error", err)
		return errNoStorage
	}
	return nil
}

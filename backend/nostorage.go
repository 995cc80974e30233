package backend

import (
	"context"
	"errors"
	"time"
)

// errNoStorage reports that a background request was not sent because storage could not
// be read.
var errNoStorage = errors.New("storage cannot be read")

// noStoragePause is the pause before the next try of such a request.
const noStoragePause = 5 * time.Second

// checkStorage returns errNoStorage if no reader waits for a token request and storage
// cannot be read. The process of a plugin can outlive a server that is killed. Another
// node is active then, and nothing could be done with a token that is fetched here.
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

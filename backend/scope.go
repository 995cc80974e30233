package backend

import (
	"slices"
	"strings"
)

// missingScopes gives the scopes that were asked for and not granted,
// space-separated; empty if none is missing.
func missingScopes(asked, granted string) string {
	have := strings.Fields(granted)
	var missing []string
	for _, scope := range strings.Fields(asked) {
		if !slices.Contains(have, scope) {
			missing = append(missing, scope)
		}
	}
	return strings.Join(missing, " ")
}

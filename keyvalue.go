package gbg

import (
	"encoding/json"
	"strings"
)

// keyValuePairs returns a map of strings from JSON, or from the command line: NAME=VALUE,
// several of these, or JSON in a text. ok is false if the value is none. The framework
// would make texts of numbers, does not take JSON in a text, and quotes what it cannot
// read.
func keyValuePairs(value any) (pairs map[string]string, ok bool) {
	pairs = map[string]string{}
	switch value := value.(type) {
	case map[string]string:
		return value, true
	case map[string]any:
		for name, v := range value {
			if pairs[name], ok = v.(string); !ok {
				return nil, false
			}
		}
		return pairs, true
	case []any:
		for _, v := range value {
			text, _ := v.(string)
			name, v, ok := strings.Cut(text, "=")
			if !ok {
				return nil, false
			}
			pairs[name] = v
		}
		return pairs, true
	case string:
		if !strings.HasPrefix(strings.TrimSpace(value), "{") {
			return keyValuePairs([]any{value})
		}
		var object map[string]any
		if json.Unmarshal([]byte(value), &object) != nil {
			return nil, false
		}
		return keyValuePairs(object)
	}
	return nil, false
}

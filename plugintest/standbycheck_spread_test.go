package plugintest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The standbys of connections that were configured at the same time are checked once a day
// each, spread over a tenth of the first day and from then on over more and more of a day.
// make bench shows the counts.
func TestStandbyChecksOverDays(t *testing.T) {
	const (
		connections = 300
		days        = 28
		hours       = 24 * days
	)
	inBubble(t, worldOptions{}, func(w *world) {
		w.dice = rand.Float64
		for i := range connections {
			name := fmt.Sprintf("connection-%03d", i)
			w.write("config/"+name, fields{
				"token_url": w.tokenURL(), "verify_connection": false,
				"client_id": name + "-a", "client_secret": w.client(name + "-a"),
				"paired_client_id": name + "-b", "paired_client_secret": w.client(name + "-b"),
			})
		}
		perHour := make([]int, hours)
		for hour := range perHour {
			before := w.asked()
			w.passUntil(start.Add(time.Duration(hour+1) * time.Hour))
			perHour[hour] = w.asked() - before
		}
		for i := range connections {
			checks := w.askedBy(fmt.Sprintf("connection-%03d-b", i))
			assert.GreaterOrEqual(t, checks, days-1)
			assert.LessOrEqual(t, checks, days*10/9)
		}
		first, last := slices.Max(perHour[:24]), slices.Max(perHour[hours-24:])
		assert.Less(t, first, connections*2/3, "a tenth of a day is more than two hours")
		assert.Less(t, last, first/2)
		t.Attr("connections", fmt.Sprint(connections))
		t.Attr("checks_per_hour", strings.Trim(fmt.Sprint(perHour), "[]"))
	})
}

package main

import (
	"encoding/xml"
	"errors"
	"image/color"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/plot/plotter"
)

func TestChart(t *testing.T) {
	svg, err := chart{
		x: "seconds", y: "reads per second",
		curves: []curve{
			{name: "this release", points: histogram([]int{3, 0, 5}, time.Second, 1), colour: curveColours[0], steps: true},
			{name: "0.1.0", points: plotter.XYs{{X: 0, Y: 1}, {X: 3, Y: 2}}, colour: curveColours[1], dashed: true},
		},
		events: []event{{"outage", 1, 2}},
		line:   4, lineName: "target",
	}.draw()
	require.NoError(t, err)
	decoder := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	for _, text := range []string{"seconds", "reads per second", "this release", "0.1.0", "outage", "target"} {
		require.Contains(t, string(svg), text)
	}
	require.Contains(t, string(svg), "sans-serif")
	require.NotContains(t, string(svg), "fill:#FFFFFF", "the background is transparent")
}

// Colours differ enough from the background of a light and of a dark page.
func TestColoursOnLightAndDark(t *testing.T) {
	light, dark := color.NRGBA{0xff, 0xff, 0xff, 0xff}, color.NRGBA{0x0d, 0x11, 0x17, 0xff}
	for _, c := range append([]color.Color{textColour}, curveColours...) {
		require.Greater(t, contrast(c, light), 3.8, "%v", c)
		require.Greater(t, contrast(c, dark), 3.8, "%v", c)
	}
}

// contrast returns the contrast ratio of WCAG 2.
func contrast(a, b color.Color) float64 {
	low, high := luminance(a), luminance(b)
	if low > high {
		low, high = high, low
	}
	return (high + 0.05) / (low + 0.05)
}

func luminance(c color.Color) float64 {
	linear := func(v uint32) float64 {
		s := float64(v) / 0xffff
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	r, g, b, _ := c.RGBA()
	return 0.2126*linear(r) + 0.7152*linear(g) + 0.0722*linear(b)
}

func TestHistogram(t *testing.T) {
	require.Equal(t, plotter.XYs{{X: 0, Y: 0}, {X: 2, Y: 1.5}, {X: 4, Y: 0}}, histogram([]int{3, 0}, 2*time.Second, 0.5))
}

func TestTicks(t *testing.T) {
	labels := func(step, low, high float64) (all []string) {
		for _, tick := range ticks(step).Ticks(low, high) {
			all = append(all, tick.Label)
		}
		return all
	}
	require.Equal(t, []string{"0", "5", "10", "15", "20", "25", "30"}, labels(0, 0, 32))
	require.Equal(t, []string{"0", "200", "400", "600", "800"}, labels(0, 0, 930))
	require.Equal(t, []string{"0", "0.2", "0.4", "0.6", "0.8", "1"}, labels(0, 0, 1))
	require.Equal(t, []string{"0", "7", "14", "21", "28"}, labels(7, 0, 28))
}

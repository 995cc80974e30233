package main

import (
	"bytes"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Plots have no background and colours of medium lightness, so that they are readable on
// a light and on a dark page.
var (
	textColour  = color.NRGBA{0x7a, 0x7a, 0x7a, 0xff}
	gridColour  = color.NRGBA{0x7a, 0x7a, 0x7a, 0x40}
	eventColour = color.NRGBA{0x7a, 0x7a, 0x7a, 0x38}
	// curveColours are those of this release and of the last.
	curveColours = []color.Color{color.NRGBA{0x2b, 0x7f, 0xd6, 0xff}, color.NRGBA{0xd0, 0x64, 0x1e, 0xff}}
)

const (
	plotWidth   = 20 * vg.Centimeter
	plotHeight  = 9 * vg.Centimeter
	plotPadding = 10 // points
)

// curve is a line of a plot.
type curve struct {
	name   string
	points plotter.XYs
	colour color.Color
	dashed bool
	// steps draws a histogram's outline.
	steps bool
}

// event is a time span that a plot shows behind the curves, in the unit of its x axis.
type event struct {
	name       string
	begin, end float64
}

// chart describes a plot.
type chart struct {
	x, y   string
	curves []curve
	events []event
	// line is a horizontal line; zero draws none.
	line     float64
	lineName string
	// xStep is the distance of the ticks of the x axis; zero means a round number.
	xStep float64
}

// draw returns the chart as an SVG, with the legend above the plot.
func (c chart) draw() ([]byte, error) {
	p, legend := plot.New(), plot.NewLegend()
	p.BackgroundColor = nil
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		setStyle(&axis.Label.TextStyle, 11)
		setStyle(&axis.Tick.Label, 10)
		axis.Color, axis.Tick.Color = textColour, textColour
	}
	setStyle(&legend.TextStyle, 11)
	legend.Left, legend.Top = true, true
	legend.Padding = vg.Points(2)
	p.X.Label.Text, p.Y.Label.Text = c.x, c.y
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = nil, gridColour
	p.Add(grid)
	if err := c.addCurves(p, &legend); err != nil {
		return nil, err
	}
	if err := c.addEvents(p); err != nil {
		return nil, err
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = ticks(c.xStep), ticks(0)

	canvas := vgsvg.New(plotWidth, plotHeight)
	inside := draw.Crop(draw.New(canvas), plotPadding, -plotPadding, plotPadding, -plotPadding)
	above := legend.Rectangle(inside).Size().Y + plotPadding
	legend.Draw(inside)
	p.Draw(draw.Crop(inside, 0, 0, 0, -above))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return nil, err
	}
	// The font is named but not embedded: the fallbacks have the same widths.
	return bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), nil
}

func setStyle(t *draw.TextStyle, size vg.Length) {
	t.Color = textColour
	t.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// addCurves adds the curves and the horizontal line, and sets where the axes begin.
func (c chart) addCurves(p *plot.Plot, legend *plot.Legend) error {
	top := c.line
	for _, curve := range c.curves {
		line, err := plotter.NewLine(curve.points)
		if err != nil {
			return err
		}
		line.Color, line.Width = curve.colour, vg.Points(1.4)
		if curve.dashed {
			line.Dashes = []vg.Length{vg.Points(3), vg.Points(2)}
		}
		if curve.steps {
			line.StepStyle = plotter.PreStep
		}
		p.Add(line)
		legend.Add(curve.name, line)
		for _, point := range curve.points {
			top = max(top, point.Y)
		}
	}
	p.X.Min, p.Y.Min, p.Y.Max = 0, 0, max(1.05*top, 1)
	if len(c.events) > 0 {
		p.Y.Max *= 1.1 // for their names
	}
	if c.line == 0 {
		return nil
	}
	line, err := plotter.NewLine(plotter.XYs{{X: p.X.Min, Y: c.line}, {X: p.X.Max, Y: c.line}})
	if err != nil {
		return err
	}
	line.Color, line.Dashes = textColour, []vg.Length{vg.Points(6), vg.Points(3)}
	p.Add(line)
	legend.Add(c.lineName, line)
	return nil
}

// ticks returns a ticker with labels at the multiples of a step. Zero means a round step
// with about six labels.
func ticks(step float64) plot.Ticker {
	return plot.TickerFunc(func(low, high float64) (all []plot.Tick) {
		step := step
		if step == 0 {
			step = math.Pow(10, math.Floor(math.Log10((high-low)/6)))
			for _, factor := range []float64{2, 2.5, 2} { // 2, 5, 10
				if (high-low)/step > 7 {
					step *= factor
				}
			}
		}
		for i := math.Ceil(low / step); i*step <= high; i++ {
			all = append(all, plot.Tick{Value: i * step, Label: strconv.FormatFloat(i*step, 'g', 6, 64)})
		}
		return all
	})
}

// addEvents adds the events, with their names.
func (c chart) addEvents(p *plot.Plot) error {
	for _, e := range c.events {
		area, err := plotter.NewPolygon(plotter.XYs{{X: e.begin, Y: 0}, {X: e.end, Y: 0}, {X: e.end, Y: p.Y.Max}, {X: e.begin, Y: p.Y.Max}})
		if err != nil {
			return err
		}
		area.Color, area.Width = eventColour, 0
		name, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: e.begin, Y: 0.93 * p.Y.Max}}, Labels: []string{" " + e.name}})
		if err != nil {
			return err
		}
		setStyle(&name.TextStyle[0], 10)
		p.Add(area, name)
	}
	return nil
}

// plot draws a chart into a file beside the page, and adds it to the section.
func (b *bench) plot(name, description string, c chart) error {
	svg, err := c.draw()
	if err != nil {
		return err
	}
	path, link := b.page.picture(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // pages of documentation
		return err
	}
	b.paragraph("![%s](%s)", description, link)
	return os.WriteFile(path, svg, 0o644) //nolint:gosec // a page of documentation
}

// histogram returns the counts per bin as a curve's points, over the seconds since the
// first bin, scaled by a factor.
func histogram(counts []int, width time.Duration, factor float64) plotter.XYs {
	points := plotter.XYs{{X: 0, Y: 0}}
	for i, n := range counts {
		points = append(points, plotter.XY{X: float64(i+1) * width.Seconds(), Y: float64(n) * factor})
	}
	return points
}

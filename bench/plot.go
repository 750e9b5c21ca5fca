package main

import (
	"fmt"
	"html"
	"strings"
)

// What is plotted: figures that are better when smaller.
var plotted = []string{"cpu", "RSS", "latency p99", "until all have everything"}

const (
	panelWidth = 460
	labelWidth = 150
	barHeight  = 16
	panelHead  = 34
	panelGap   = 18
)

// panel is a bar for each target.
type panel struct {
	title string
	rows  []row
}

func (p panel) height() int { return panelHead + barHeight*len(p.rows) + panelGap }

// plot is one SVG with a panel for each scenario and figure: bars are medians, lines on them minimum and maximum.
func (r *report) plot() string {
	var panels []panel
	for _, metric := range plotted {
		for _, one := range r.rows() {
			if one.metric != metric {
				continue
			}
			title := one.scenario + ": " + metric + ", " + one.unit
			if n := len(panels); n == 0 || panels[n-1].title != title {
				panels = append(panels, panel{title: title})
			}
			panels[len(panels)-1].rows = append(panels[len(panels)-1].rows, one)
		}
	}
	var body strings.Builder
	var bottom [2]int // of the two columns
	for _, p := range panels {
		column := 0
		if bottom[1] < bottom[0] {
			column = 1
		}
		p.draw(&body, column*panelWidth, bottom[column])
		bottom[column] += p.height()
	}
	height := max(bottom[0], bottom[1]) + 24
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+
		`<rect width="100%%" height="100%%" fill="white"/>%s<text x="8" y="%d" fill="#666">%s; less is better</text></svg>`+"\n",
		2*panelWidth, height, body.String(), height-8, html.EscapeString(r.environment()))
}

func (p panel) draw(b *strings.Builder, x, y int) {
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`, x+8, y+panelHead-10, html.EscapeString(p.title))
	most := 0.0
	for _, one := range p.rows {
		most = max(most, one.values[len(one.values)-1])
	}
	if most == 0 {
		most = 1
	}
	left, width := x+labelWidth, float64(panelWidth-labelWidth-70)
	for i, one := range p.rows {
		top := y + panelHead + i*barHeight
		colour := "#9aa7b4"
		if strings.HasPrefix(one.target, "trunkline") {
			colour = "#2b6cb0"
		}
		scaled := func(v float64) float64 { return float64(left) + v/most*width }
		low, high := scaled(one.values[0]), scaled(one.values[len(one.values)-1])
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-6, top+11, html.EscapeString(one.target))
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, left, top+1, scaled(one.median())-float64(left), barHeight-4, colour)
		fmt.Fprintf(b, `<path d="M%.1f %dH%.1f" stroke="black"/>`, low, top+barHeight/2-1, high)
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`, high+5, top+11, short(one.median()))
	}
}

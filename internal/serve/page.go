package serve

import (
	"bytes"
	"html/template"
	"net/http"
)

// Page is the small page that a browser sees at /: what answers here and where to go. It needs nothing from elsewhere.
type Page struct {
	Title, Lead string
	Facts       [][2]string
	Groups      []LinkGroup
}

// LinkGroup is links under a heading.
type LinkGroup struct {
	Title string
	Links []Link
}

// Link is a path or URL with the words that say what is there. Code is shown instead where there is nothing to follow.
type Link struct{ To, Code, Words string }

// Write answers with the page.
func (p *Page) Write(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		Fail(w, http.StatusInternalServerError, "The page cannot be made: "+err.Error())
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	Write(w, r, b.Bytes())
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
:root { color-scheme: light dark; --ink: #1d2a22; --soft: #5b6b61; --line: #d9e2dc; --paper: #fbfcfa; --leaf: #2f7d4f }
@media (prefers-color-scheme: dark) { :root { --ink: #e4ece7; --soft: #9db0a4; --line: #2c3a32; --paper: #141a17; --leaf: #7fd0a0 } }
body { margin: 0 auto; max-width: 46rem; padding: 3rem 1.5rem 4rem; font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
h1 { margin: 0; font-size: 1.75rem; font-weight: 650; letter-spacing: -.01em }
h1::before { content: ""; display: inline-block; width: .6em; height: .6em; margin-right: .45em; border-radius: 0 60% 0 60%; background: var(--leaf) }
h2 { margin: 2.2rem 0 .6rem; font-size: .8rem; font-weight: 600; letter-spacing: .06em; text-transform: uppercase; color: var(--soft) }
p { margin: .6rem 0 1.6rem; color: var(--soft) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.5rem; margin: 0; padding: 1rem 1.2rem; border: 1px solid var(--line); border-radius: 10px }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums }
ul { margin: 0; padding: 0; list-style: none; border-top: 1px solid var(--line) }
li { display: grid; grid-template-columns: minmax(11rem, max-content) 1fr; gap: 1.5rem; padding: .5rem 0; border-bottom: 1px solid var(--line) }
li span { color: var(--soft) }
a { color: var(--leaf); text-decoration: none } a:hover, a:focus { text-decoration: underline }
a, code { font-family: ui-monospace, monospace; font-size: .92em }
@media (max-width: 34rem) { li { grid-template-columns: 1fr; gap: 0 } }
</style>
<h1>{{.Title}}</h1>
<p>{{.Lead}}</p>
<dl>{{range .Facts}}<dt>{{index . 0}}</dt><dd>{{index . 1}}</dd>{{end}}</dl>
{{range .Groups}}<h2>{{.Title}}</h2>
<ul>{{range .Links}}
<li>{{if .To}}<a href="{{.To}}">{{.To}}</a>{{else}}<code>{{.Code}}</code>{{end}}<span>{{.Words}}</span></li>{{end}}
</ul>
{{end}}</html>
`))

// Package metrics exports the metrics of an engine in the Prometheus text format.
//
// Requests to GBG are observed when they happen. All other metrics are read from the
// engine at each scrape: they cost nothing between scrapes, and the series of a
// deleted connection disappear with it. Label values are connections, client ids and
// constants, so callers cannot create new series.
package metrics

// Package metrics tells what an engine does in the Prometheus text format.
//
// Requests to GBG are observed as they happen. All else is read from the engine
// when somebody asks for the metrics, so that it costs readers nothing and series
// end with their connection. Labels are connections, clients and words of our own:
// nothing that a caller can invent.
package metrics

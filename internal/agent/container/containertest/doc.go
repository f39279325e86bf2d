// Package containertest has what tests and simulations need of containers: a fake Runtime without processes, the suite
// that every Runtime passes, and a launcher built for the test.
package containertest

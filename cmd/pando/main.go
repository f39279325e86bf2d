// Command pando is a datacenter operating system in one binary: the cluster's parts and the command line to it.
package main

func main() {}

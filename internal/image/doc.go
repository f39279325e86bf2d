// Package image keeps the images of containers on one machine: it pulls them from registries or loads them from files,
// verifies every byte, unpacks each layer into a directory of its own, and says which directories make an overlay mount.
package image

// Package guide is the code of docs/guide.md, which its tests run.
package guide

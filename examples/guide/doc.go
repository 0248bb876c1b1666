// Package guide has the code of docs/guide.md, which its tests run.
package guide

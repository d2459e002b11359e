// Package words has words.
package words

// Hello greets.
func Hello(name string) string {
	return "Hello, " + name + "!"
}

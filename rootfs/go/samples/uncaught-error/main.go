package main

func fail() {
	panic("boom")
}

func main() {
	fail()
}

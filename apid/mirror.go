package main

import (
	"bytes"
	"strings"
)

// mirror is where jails have the operator's packages (docs/packages.md).
const mirror = "/packages"

// mayUseMirror says that the compile job may read packages of the operator's mirror. They may be added to at any time, and nobody tells us. So what is
// made with them is not kept, nor is the compiler, which may remember what was not there. A source can name the folder, or hold a word by which its
// compiler takes something from there (`mirror` of lang.json).
//
// It is a search for text, and does for who does not hide from it. Who puts the folder's name together of pieces has for some minutes what he had
// compiled before, and nobody else has it.
func (x *execution) mayUseMirror(j *preparedJob) bool {
	for _, v := range j.job.Env {
		if strings.Contains(v, mirror) {
			return true
		}
	}
	for _, word := range append([]string{mirror}, x.plan.runtime.Compile.Mirror...) {
		for _, f := range j.own {
			if holds(f.content, word) {
				return true
			}
		}
	}
	return false
}

// holds says whether a text has a word of ASCII in it, be it in UTF-8, UTF-16 or UTF-32: some compilers read them all.
func holds(text []byte, word string) bool {
	if bytes.Contains(text, []byte(word)) {
		return true
	}
	if bytes.IndexByte(text, 0) < 0 {
		return false
	}
	wide := func(zeros string) bool {
		return bytes.Contains(text, []byte(strings.Join(strings.Split(word, ""), zeros)))
	}
	return wide("\x00") || wide("\x00\x00\x00")
}

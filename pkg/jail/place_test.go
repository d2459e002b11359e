package jail

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Names that fit the packet of a hostile apid can have a hundred times as many bytes of folders above them. They are refused before that much is held.
func TestPlaceFilesStops(t *testing.T) {
	const files, parts = 1000, 64 // as pkg/wire allows
	job := &Job{}
	for i := range files {
		job.Files = append(job.Files, File{Name: strings.Repeat(fmt.Sprintf("%03x/", i), parts-1) + "f"})
	}
	p := &plan{}
	if err := placeFiles(p, job); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	held := 0
	for _, s := range p.steps {
		held += sizeofStep + len(s.s1) + len(s.s2)
	}
	if held > 2*maxPacket {
		t.Errorf("%d steps of %d bytes were made", len(p.steps), held)
	}
	job.Files = job.Files[:10]
	p = &plan{}
	if err := placeFiles(p, job); err != nil || len(p.steps) != 10*parts {
		t.Errorf("%d steps, %v", len(p.steps), err)
	}
}

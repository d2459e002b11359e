package main

import (
	"fmt"
	"os"
	"path"

	"github.com/runtools/runtools/pkg/client"
)

// saveArtifacts writes the files that came back below a folder. The program chose their names, and what of theirs is there already may
// have come from one before: an os.Root follows none of them out of the folder.
func (a *app) saveArtifacts(dir string, res *client.Result) error {
	if o := res.ArtifactsOmitted; o != nil {
		fmt.Fprintf(a.stderr, "runtools: %d artifacts of %d bytes are missing: %s\n", o.Count, o.Bytes, o.Message)
	}
	if len(res.Artifacts) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range res.Artifacts {
		if err := root.MkdirAll(path.Dir(f.Name), 0o777); err != nil {
			return err
		}
		if err := root.WriteFile(f.Name, f.Content, 0o666); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"fmt"
	"strings"

	"github.com/runtools/runtools/pkg/wire"
)

// Names of files are little in a request and much in what is done with them: each folder above a file is a step of the jail's, with all of its path
// again. What follows costs no more than the bytes of the names times a small number, for nobody has queued for it yet.

// maxFolders bounds the steps of all folders of a job, in bytes: with the files' and the words' they have to fit one packet of pkg/jail, twice where the
// workspace is compared afterwards. folderStep is at least what a step has besides its path.
const (
	maxFolders = 128 << 10
	folderStep = 64
)

// pathSet is the paths that files take up.
type pathSet struct {
	isFile  map[string]bool // false: a folder
	files   int
	names   int // bytes of the files' names
	folders int // bytes of the folders' steps
}

// addFolders takes in the folders above a file, the nearest first: above one that is known all are. It returns one that is a file, or "".
func (s *pathSet) addFolders(name string) (file string) {
	for at := strings.LastIndexByte(name, '/'); at > 0; at = strings.LastIndexByte(name[:at], '/') {
		folder := name[:at]
		if isFile, known := s.isFile[folder]; isFile {
			return folder
		} else if known {
			return ""
		}
		s.isFile[folder] = false
		s.folders += folderStep + len(folder)
	}
	return ""
}

// checkNames refuses names that sandboxd would refuse or that get in each other's way. The first codeFiles of them are not the caller's.
func checkNames(files []requestFile, codeFiles int) (*pathSet, *apiError) {
	s := &pathSet{isFile: make(map[string]bool, len(files)), files: len(files)}
	for i, f := range files {
		field := fieldIndex("files", i-codeFiles) + ".name"
		if i >= codeFiles {
			if err := wire.ValidateFileName(f.name); err != nil {
				return nil, invalidField(field, "%v", err)
			}
		}
		if s.names += len(f.name); s.names > maxFileNames {
			return nil, invalidField("files", "the names have more than %d bytes together", maxFileNames)
		}
		if file, taken := s.isFile[f.name]; taken {
			switch {
			case !file:
				return nil, invalidField(field, "%s is already a folder of another file", shown(f.name))
			case codeFiles == 1 && f.name == files[0].name:
				return nil, invalidField(field, "%s is the name that code is written to; give it another, or leave out code and put this file first", shown(f.name))
			}
			return nil, invalidField(field, "%s is given twice", shown(f.name))
		}
		s.isFile[f.name] = true
		if file := s.addFolders(f.name); file != "" {
			return nil, invalidField(field, "%s is already a file", shown(file))
		}
		if s.folders > maxFolders {
			return nil, invalidField("files", "the folders above them have more than %d bytes together, each counted with %d besides: use fewer or shorter ones", maxFolders, folderStep)
		}
	}
	return s, nil
}

// over says what keeps files from being laid over those of a base, of which each gives way to one of its own name; "" if nothing does.
func (s *pathSet) over(base *pathSet) string {
	files, names, folders := base.files+s.files, base.names+s.names, base.folders+s.folders
	for path, isFile := range s.isFile {
		wasFile, there := base.isFile[path]
		switch {
		case !there:
		case wasFile != isFile:
			return "one of the names is a folder of the request's files, or the other way round"
		case isFile:
			files, names = files-1, names-len(path)
		default:
			folders -= folderStep + len(path)
		}
	}
	switch {
	case files > maxFiles:
		return fmt.Sprintf("more than %d files with those of the request", maxFiles)
	case names > maxFileNames:
		return fmt.Sprintf("the names have more than %d bytes together with those of the request's files", maxFileNames)
	case folders > maxFolders:
		return fmt.Sprintf("the folders above them have more than %d bytes together with those of the request's files", maxFolders)
	}
	return ""
}

// folderBytes is what the folders of files need together.
func folderBytes(lists ...[]requestFile) int {
	s := &pathSet{isFile: map[string]bool{}}
	for _, files := range lists {
		for _, f := range files {
			s.addFolders(f.name)
		}
	}
	return s.folders
}

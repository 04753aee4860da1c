package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLicencesAreKnownByWhatTheySay(t *testing.T) {
	for text, want := range map[string]string{
		"Permission is hereby granted,\n free of charge, to any person obtaining\ta copy of it": "MIT",
		"Redistribution and use in source and binary forms, with or without":                    "BSD",
		"                 Apache License\n           Version 2.0, January 2004":                 "Apache-2.0",
		"Mozilla Public License Version 2.0 ... or the GNU Affero General Public License":       "MPL-2.0",
		"GNU GENERAL PUBLIC LICENSE Version 3":                                                  "GPL",
		"GNU AFFERO GENERAL PUBLIC LICENSE":                                                     "AGPL",
		"Business Source License 1.1":                                                           "BUSL",
		"All rights reserved.":                                                                  "",
	} {
		if got := licenceOf(text); got != want {
			t.Errorf("%q is %q, should be %q", text, got, want)
		}
	}
}

func TestAModuleWithoutALicenceIsUnknown(t *testing.T) {
	dir := t.TempDir()
	if got := licenceIn(dir); got != "unknown" {
		t.Errorf("no file: %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "License.md"), []byte("do what you want"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := licenceIn(dir); got != "unknown" {
		t.Errorf("nothing that is known: %q", got)
	}
	if got := licenceIn(filepath.Join(dir, "none")); got != "no folder" {
		t.Errorf("no folder: %q", got)
	}
}

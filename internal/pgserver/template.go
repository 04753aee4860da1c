package pgserver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// TemplatesVariable names a folder in which data folders are kept as initdb makes them, one for each set of binaries.
// Servers that follow start from a copy, which takes a fifth of the time; they share the system identifier. Without the
// variable nothing outlives a server.
const TemplatesVariable = "LOCKKEEPER_PG_TEMPLATES"

// initialise fills the data folder.
func (s *Server) initialise(ctx context.Context) error {
	template := ""
	if folder := os.Getenv(TemplatesVariable); folder != "" {
		template = filepath.Join(folder, fmt.Sprintf("%x", sha256.Sum256([]byte(s.binDir+"\n"+s.version)))[:16])
		err := copyTree(ctx, s.dataDir, template, s.user)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := s.initdb(ctx); err != nil || template == "" {
		return err
	}
	return s.saveTemplate(ctx, template)
}

func (s *Server) initdb(ctx context.Context) error {
	pwfile := filepath.Join(s.dir, "password")
	if err := os.WriteFile(pwfile, []byte(s.password+"\n"), 0o600); err != nil {
		return err
	}
	if err := s.user.own(pwfile); err != nil {
		return err
	}
	err := run(ctx, s.user, s.dir, filepath.Join(s.binDir, "initdb"),
		"--pgdata="+s.dataDir, "--username="+Superuser, "--pwfile="+pwfile,
		"--auth-local=trust", "--auth-host=scram-sha-256",
		"--encoding=UTF8", "--locale=C", "--no-sync")
	if err != nil {
		return err
	}
	return os.Remove(pwfile)
}

// saveTemplate makes the template appear whole or not at all; another process may be faster.
func (s *Server) saveTemplate(ctx context.Context, template string) error {
	if err := os.MkdirAll(filepath.Dir(template), 0o700); err != nil {
		return err
	}
	unfinished, err := os.MkdirTemp(filepath.Dir(template), "unfinished-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(unfinished)
	whole := filepath.Join(unfinished, "data")
	if err := copyTree(ctx, whole, s.dataDir, account{}); err != nil {
		return err
	}
	if err := os.Rename(whole, template); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// copyTree copies a folder of folders and plain files, and gives the copy to an account.
func copyTree(ctx context.Context, to, from string, owner account) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		inside, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, inside)
		switch {
		case entry.IsDir():
			err = os.Mkdir(target, 0o700)
		case entry.Type().IsRegular():
			err = copyFile(target, path)
		default:
			err = fmt.Errorf("%s is neither a folder nor a plain file", path)
		}
		if err != nil {
			return err
		}
		return owner.own(target)
	})
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

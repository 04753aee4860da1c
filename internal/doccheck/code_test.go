package doccheck

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// imports are the packages that a block may use without importing them, by their names.
var imports = map[string]string{
	"context": "context", "errors": "errors", "fmt": "fmt", "log": "log", "os": "os", "signal": "os/signal", "syscall": "syscall", "sql": "database/sql", "strings": "strings", "testing": "testing", "time": "time",
	"pgx": "github.com/jackc/pgx/v5", "pgxpool": "github.com/jackc/pgx/v5/pgxpool",
	"hashing":  "github.com/lockkeeper/lockkeeper/hashing",
	"locktest": "github.com/lockkeeper/lockkeeper/locktest",
	"manager":  "github.com/lockkeeper/lockkeeper/manager",
	// of modules of their own
	"lockotel":   "github.com/lockkeeper/lockkeeper/otel",
	"lockprom":   "github.com/lockkeeper/lockkeeper/prom",
	"prometheus": "github.com/prometheus/client_golang/prometheus",
}

// around is what a reader of a block knows from the page: the variables and functions of the program that it is a part of.
const around = `
var (
	ctx       context.Context
	dsn       string
	m         *manager.Manager
	lock      *manager.Lock
	tx        pgx.Tx
	db        *sql.DB
	scheduler interface{ Run(ctx context.Context) error }
)

func NewWorker(l manager.Locker) any           { return l }
func pay(ctx context.Context) error            { return nil }
func rebuild(ctx context.Context) error        { return nil }
func render(ctx context.Context, n int) error  { return nil }
func report(ctx context.Context) error         { return nil }
func serve(ctx context.Context) error          { return nil }
`

// The page about adapters has host libraries besides, which are dependencies of the modules in adapters/ and not of the library: the workspace
// has them.
const adapters = "docs/adapters.md"

var hosts = map[string]string{
	"asynq": "github.com/hibiken/asynq", "cron": "github.com/robfig/cron/v3", "fs": "io/fs", "gocron": "github.com/go-co-op/gocron/v2",
	"goose": "github.com/pressly/goose/v3", "migrate": "github.com/golang-migrate/migrate/v4",
	"pgxdriver":   "github.com/golang-migrate/migrate/v4/database/pgx/v5",
	"asynqlock":   "github.com/lockkeeper/lockkeeper/adapters/asynq",
	"cronlock":    "github.com/lockkeeper/lockkeeper/adapters/cron",
	"gocronlock":  "github.com/lockkeeper/lockkeeper/adapters/gocron",
	"gooselock":   "github.com/lockkeeper/lockkeeper/adapters/goose",
	"migratelock": "github.com/lockkeeper/lockkeeper/adapters/migrate",
	"redislock":   "github.com/lockkeeper/lockkeeper/adapters/redislock",
	"redsync":     "github.com/lockkeeper/lockkeeper/adapters/redsync",
}

const aroundAdapters = `
var (
	logger     cron.Logger
	migrations fs.FS
	redis      asynq.RedisConnOpt
	mgr        interface{ Start(ctx context.Context) error }
)

func sendReport() {}
`

// harmless are complaints of the compiler about a part of a program that are none about the whole.
var harmless = []string{"declared and not used", "imported and not used", "imported as", "no new variables on left side of :="}

// Each Go block of the documentation is Go, and fits the library as it is: a whole program, declarations, or statements.
func TestGoBlocks(t *testing.T) {
	fset := token.NewFileSet()
	all := maps.Clone(imports)
	maps.Copy(all, hosts)
	from := importer.ForCompiler(fset, "gc", exports(t, all))
	blocks := 0
	for _, p := range pages(t) {
		known, around := imports, around
		if p.name == adapters {
			known, around = all, around+aroundAdapters
		}
		found, _ := p.blocks()
		for _, b := range found {
			if b.language != "go" {
				continue
			}
			blocks++
			file, err := parse(fset, b, known, around)
			if err != nil {
				t.Errorf("%s:%d: %v", p.name, b.line, err)
				continue
			}
			config := types.Config{Importer: from, Error: func(err error) {
				for _, text := range harmless {
					if strings.Contains(err.Error(), text) {
						return
					}
				}
				t.Errorf("%s, the block at line %d: %v", p.name, b.line, err)
			}}
			_, _ = config.Check("block", fset, []*ast.File{file}, nil) // Error has heard of each error
		}
	}
	if blocks < 10 {
		t.Errorf("only %d blocks are found", blocks)
	}
}

// parse makes a file of a block. Line 1 of the file is line 1 of the block, so that errors have the block's lines.
func parse(fset *token.FileSet, b block, imports map[string]string, around string) (*ast.File, error) {
	if strings.Contains(b.text, "package ") {
		return parser.ParseFile(fset, "block", b.text, parser.SkipObjectResolution)
	}
	head := "package block; import ("
	for name, path := range imports {
		head += fmt.Sprintf("%s %q;", name, path)
	}
	head += ");"
	file, err := parser.ParseFile(fset, "block", head+b.text+around, parser.SkipObjectResolution)
	if err == nil {
		return file, nil
	}
	// Statements: in a function whose result is any error, so that a block may return one.
	return parser.ParseFile(fset, "block", head+"func _() error {"+b.text+"\nreturn nil\n}\n"+around, parser.SkipObjectResolution)
}

// exports gives the compiled form of packages, which the go command makes, of all modules of the workspace.
func exports(t *testing.T, imports map[string]string) func(path string) (io.ReadCloser, error) {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}"}
	for _, path := range imports {
		args = append(args, path)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "GOWORK=") // the file go.work, also where it is switched off
	out, err := cmd.Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		t.Fatalf("%v: %s", err, failed.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if path, file, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			files[path] = file
		}
	}
	return func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, fmt.Errorf("package %s is none that a block may import: see imports", path)
		}
		return os.Open(files[path])
	}
}

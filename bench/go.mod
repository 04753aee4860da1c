module github.com/lockkeeper/lockkeeper/bench

go 1.26.0

replace github.com/lockkeeper/lockkeeper => ../

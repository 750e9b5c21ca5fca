module github.com/trunkline/trunkline

go 1.26.0

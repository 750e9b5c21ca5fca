.PHONY: gen
gen: ## Write gen/ from proto/
	@.ci/install gen
	@.ci/generate

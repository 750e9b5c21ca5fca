package app

import "github.com/go-viper/mapstructure/v2"

// exactly assigns values that already have the types of the fields; nothing is converted and nothing may be left over.
func exactly(cfg *Config) *mapstructure.DecoderConfig {
	return &mapstructure.DecoderConfig{Result: cfg, TagName: "koanf", ErrorUnused: true}
}

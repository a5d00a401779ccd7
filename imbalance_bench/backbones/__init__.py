"""Networks: ordinary nn.Modules, each behind a registered dataclass that builds it from its YAML keys."""

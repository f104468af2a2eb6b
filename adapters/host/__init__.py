"""The machine underneath: settings, logs, HTTP serving and calling, systemd."""

// Not a plugin: it has no WEIR_PLUGIN.
int nothing() { return 0; }

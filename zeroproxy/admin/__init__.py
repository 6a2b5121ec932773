"""The admin listener: aiohttp on a port of its own. Reads snapshots, owns nothing."""

"""The relay: an NKN address whose sealed direct messages become HTTP requests to your own services."""

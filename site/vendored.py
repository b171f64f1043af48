"""The files of npm packages that the page uses: exactly these, with exactly these bytes.

Data alone; read by `shelf`. To change one: `npm install NAME@VERSION --save-exact` in this folder, then
version and hash here (`openssl dgst -sha384 -binary FILE | base64 -w0`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vendored:
    """A file of an npm package.

    Attributes:
        package: its name on npm.
        version: its version; it stands in the URL, so that a cache may keep the file for good.
        file: path inside the package.
        integrity: "sha384-" and the hash in base64, as in an integrity attribute.
    """

    package: str
    version: str
    file: str
    integrity: str

    @property
    def url(self) -> str:
        """The path it is served at; folders inside the package are left out."""
        return f"/vendor/{self.package}@{self.version}/{self.file.rpartition('/')[2]}"


VENDORED = (
    Vendored(
        "nkn-sdk",
        "1.3.6",
        "dist/nkn.min.js",
        "sha384-RRxtg+b/rsS/HcrmWk96aznNJFJoIvG2tuAih3cLOZT+viyhD4GQVJyD/lo0gy/l",
    ),
    Vendored(
        "uplot",
        "1.6.32",
        "dist/uPlot.iife.min.js",
        "sha384-Gx3t0zdBAuQOuvvmaLZj7HKEiSgWTAs+VdtNY7wt19QDPTDQjFIwAuXDj0zeN00c",
    ),
    Vendored(
        "uplot",
        "1.6.32",
        "dist/uPlot.min.css",
        "sha384-IfV0B7MIOYuO95kO9G5ySKPz/85zqFNOAs8iy4tkK5zd9izhJAB8b7lHrwYqqmYE",
    ),
    Vendored(
        "marked",
        "18.2.1",
        "lib/marked.esm.js",
        "sha384-IslICfIW5qGVXiktEGRCl4Yjq1y0sicAAa56H/JFltKBQrOzaiVHAprtE+5IzWU6",
    ),
    Vendored(
        "dompurify",
        "3.4.18",
        "dist/purify.es.mjs",
        "sha384-Ddy4c85e8bHPh1VJAmSaK2bgBw21bbdBv3M9P4TLFoZzNlgtTG3d3QkBWYkkfObc",
    ),
)

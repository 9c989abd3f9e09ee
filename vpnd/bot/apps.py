"""Which apps are named on which platform, the recommended one first, and how a link gets into each.

Only apps that read what a subscription page serves and speak VLESS with REALITY. On a TV there is no messenger to press a
button in: there the link comes as a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from attrs import frozen

#: In the order in which they are offered; their names are the texts `button-platform-<name>`.
PLATFORMS: Final = ("android", "ios", "windows", "macos", "linux", "tv")

#: How a link gets in: by a page that opens the app, from the clipboard, by Ctrl+V in its window, by the camera.
How = Literal["open", "paste", "keys", "scan"]


@frozen
class App:
    """An app on a platform.

    Attributes:
        word: what names it on a button: the platform and the app.
        name: as its maker writes it.
        store: where it is got, over https.
        importer: what it is called among `vpnd.nodes.profiles.IMPORTERS`, if a page can open it.
        otherwise: how a link gets in where no page opens it.
    """

    word: str
    platform: str
    name: str
    store: str
    importer: str | None = None
    otherwise: How = "paste"


_PLAY: Final = "https://play.google.com/store/apps/details?id="
_APPLE: Final = "https://apps.apple.com/app/"
_HIDDIFY: Final = "https://github.com/hiddify/hiddify-app/releases"
_HAPP_APPLE: Final = _APPLE + "happ-proxy-utility/id6504287215"
_STREISAND: Final = _APPLE + "streisand/id6450534064"

_ALL: Final = (
    App("android_hiddify", "android", "Hiddify", _PLAY + "app.hiddify.com", "hiddify"),
    App("android_v2rayng", "android", "v2rayNG", _PLAY + "com.v2ray.ang", "v2rayng"),
    App("android_v2raytun", "android", "v2RayTun", _PLAY + "com.v2raytun.android", "v2raytun"),
    App("android_happ", "android", "Happ", _PLAY + "com.happproxy", "happ"),
    App("ios_happ", "ios", "Happ", _HAPP_APPLE, "happ"),
    App("ios_streisand", "ios", "Streisand", _STREISAND, "streisand"),
    App("ios_v2raytun", "ios", "v2RayTun", _APPLE + "v2raytun/id6476628951", "v2raytun"),
    App("windows_hiddify", "windows", "Hiddify", _HIDDIFY, "hiddify"),
    App("windows_v2rayn", "windows", "v2rayN", "https://github.com/2dust/v2rayN/releases", otherwise="keys"),
    App("macos_happ", "macos", "Happ", _HAPP_APPLE, "happ"),
    App("macos_streisand", "macos", "Streisand", _STREISAND, "streisand"),
    App("macos_hiddify", "macos", "Hiddify", _HIDDIFY, "hiddify"),
    App("linux_hiddify", "linux", "Hiddify", _HIDDIFY, "hiddify"),
    App("tv_happ", "tv", "Happ", _PLAY + "com.happproxy", otherwise="scan"),
    App("tv_v2rayng", "tv", "v2rayNG", _PLAY + "com.v2ray.ang", otherwise="scan"),
)

APPS: Final[Mapping[str, App]] = {app.word: app for app in _ALL}


def apps_on(platform: str) -> tuple[App, ...]:
    """The apps of a platform, the recommended one first; empty for a platform that we do not know."""
    return tuple(app for app in _ALL if app.platform == platform)


def app_named(word: str) -> App | None:
    """The app that a word names, or the recommended one of the platform that it names."""
    return APPS.get(word) or next(iter(apps_on(word)), None)


def importer_name(importer: str) -> str:
    """What an app is called that a page opens."""
    return next(app.name for app in _ALL if app.importer == importer)

"""For each scene on standard input, sends a message to the user who consented to it, and prints Weixin's errcode."""

from os import environ
from sys import stdin

from moved import ThroughServer, TokenFromServer
from wechatpy.exceptions import WeChatException

Client = ThroughServer if environ["STORY_SENDS"] == "ThroughServer" else TokenFromServer
client = Client(environ["STORY_APPID"], environ["WXSUB_KEY"], timeout=35)
if Client is TokenFromServer:
    client.API_BASE_URL = environ["STORY_WEIXIN"] + "/cgi-bin/"

for scene in stdin:
    try:
        client.message.send_subscribe_template(
            openid="oUser",
            template_id=environ["STORY_TEMPLATE"],
            scene=int(scene),
            title="Parcel",
            data={"content": {"value": "It is here.", "color": "#FF0000"}},
        )
        print(0, flush=True)
    except WeChatException as error:
        print(error.errcode, flush=True)

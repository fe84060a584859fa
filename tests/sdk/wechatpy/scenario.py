"""Sends a message for each scene on standard input, and prints the errcode of Weixin."""

from os import environ
from sys import stdin

from moved import ThroughServer, TokenFromServer
from wechatpy.exceptions import WeChatException

Client = ThroughServer if environ["TEST_ROUTE"] == "ThroughServer" else TokenFromServer
client = Client(environ["TEST_APPID"], environ["WXSUB_KEY"], timeout=35)
if Client is TokenFromServer:
    client.API_BASE_URL = environ["TEST_WEIXIN"] + "/cgi-bin/"

for scene in stdin:
    try:
        client.message.send_subscribe_template(
            openid="oUser",
            template_id=environ["TEST_TEMPLATE"],
            scene=int(scene),
            title="Parcel",
            data={"content": {"value": "It is here.", "color": "#FF0000"}},
        )
        print(0, flush=True)
    except WeChatException as error:
        print(error.errcode, flush=True)

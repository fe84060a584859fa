from os import environ

from wechatpy import WeChatClient

SERVER = environ["WXSUB_SERVER"]


class TokenFromServer(WeChatClient):
    """Gets its token from the control server and calls Weixin with it."""

    def fetch_access_token(self):
        query = {"grant_type": "client_credential", "appid": self.appid, "secret": self.secret}
        return self._fetch_access_token(f"{SERVER}/cgi-bin/token", query)


class ThroughServer(TokenFromServer):
    """Has the control server send one-time messages, too. Nothing else is served there."""

    API_BASE_URL = f"{SERVER}/cgi-bin/"

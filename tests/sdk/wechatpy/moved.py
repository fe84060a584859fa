from os import environ

from wechatpy import WeChatClient

SERVER = environ["WXSUB_SERVER"]


class TokenFromServer(WeChatClient):
    """Gets its token from the control server, and calls Weixin itself."""

    def fetch_access_token(self):
        query = {"grant_type": "client_credential", "appid": self.appid, "secret": self.secret}
        return self._fetch_access_token(f"{SERVER}/cgi-bin/token", query)


class ThroughServer(TokenFromServer):
    """Sends one-time messages through the control server, too. It serves no other calls."""

    API_BASE_URL = f"{SERVER}/cgi-bin/"

"""A user on the page, who reads and clicks."""

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from local.environment import ROOT

#: The tests leave them there, for people to look at.
SCREENSHOTS = ROOT / ".local" / "screenshots"
#: A message that is answered in 24 pieces, and the whole answer.
LONG = "say: " + "|".join(f"word{n} " for n in range(24))
ALL_WORDS = " ".join(f"word{n}" for n in range(24))


class Visitor:
    """The actions of a user on the page, and what the page shows."""

    def __init__(self, page: Page, project: str) -> None:
        self.page = page
        self.project = project
        #: Messages of the browser: errors, refusals of the content policy, scripts that failed.
        self._logged: list[str] = []
        self._forgiven: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._logged.append(str(error)))

    def open(self, path: str = "/") -> None:
        self.page.goto(self.project + path)

    def sign_in(self, user: str) -> None:
        self.page.get_by_label("Signed in as").select_option(user)

    def say(self, text: str) -> None:
        self.page.get_by_label("Message", exact=True).fill(text)
        self.page.get_by_role("button", name="Send", exact=True).click()

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("log")

    @property
    def answers(self) -> Locator:
        return self.log.get_by_role("article", name="Assistant")

    @property
    def send(self) -> Locator:
        return self.page.get_by_role("button", name="Send", exact=True)

    @property
    def threads(self) -> Locator:
        return self.page.locator("#thread-list a")

    def wait_until_answered(self, text: str) -> None:
        """Wait for a whole answer."""
        expect(self.answers.last).to_have_text(text)
        expect(self.send).to_be_visible()

    def thread_id(self) -> str:
        self.page.wait_for_url("**/#/chat/*")
        return self.page.url.rpartition("/")[2]

    def token(self, user: str) -> str:
        """A token, requested as the page does it."""
        options = {"headers": {"x-playground": "1"}, "method": "POST"}
        script = "([user, options]) => fetch(`/local/token/${user}`, options).then(a => a.json())"
        return str(self.page.evaluate(script, [user, options])["token"])

    def post(self, path: str, body: object) -> None:
        """Post to the gateway as alice, without the page."""
        url = f"{self.project}/functions/v1/auth-gateway{path}"
        bearer = {"authorization": f"Bearer {self.token('alice')}"}
        answer = self.page.request.post(url, data=body, headers=bearer)
        assert answer.ok, answer.text()

    def forgive(self, *texts: str) -> None:
        """Ignore messages with these texts, which the test itself causes, however late they come."""
        self._forgiven += texts

    @property
    def complaints(self) -> list[str]:
        """The messages of the console that no test ignored."""
        return [c for c in self._logged if not any(text in c for text in self._forgiven)]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._logged.append(f"{message.text} ({message.location.get('url')})")

// Before the first paint, so that nobody is blinded by the other theme. The only thing that this page ever stores for good.
"use strict";
{
  const theme = localStorage.getItem("lungct-theme");
  if (theme) document.documentElement.dataset.theme = theme;
}
